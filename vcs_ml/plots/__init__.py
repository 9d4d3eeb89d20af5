"""Plots: from data points and pictures at several revisions to figures, pages, SVG and PNG; nothing here knows Git."""
