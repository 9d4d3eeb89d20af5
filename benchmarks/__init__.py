"""vml beside cp, Git and DVC: the same work, on the same files, in turn."""
