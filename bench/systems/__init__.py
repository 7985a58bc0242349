"""The systems that are compared. Each can be started, names its processes, and can be stopped."""
