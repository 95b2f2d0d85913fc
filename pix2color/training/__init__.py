"""Training: steps as pure functions, the loop, its state, its log and its pictures."""
