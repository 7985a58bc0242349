"""Days of delivering in minutes: the real scheduler and limits on a clock that jumps."""
