"""Training: a task's steps, the loop, its state, its log and its sample pictures."""
