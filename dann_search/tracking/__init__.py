"""TensorBoard events and the console's live progress."""
