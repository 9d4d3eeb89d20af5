"""What Git's hooks do for a project, and how they are put in place."""
