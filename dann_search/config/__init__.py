"""What a user may write: the experiment file, its search space and one trial's configuration."""
