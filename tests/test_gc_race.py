"""Two clones push while a third runs gc of the remote without any grace: nothing that was pushed is ever lost."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "store"))
