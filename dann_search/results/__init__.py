"""What an experiment left on storage: leaderboard, best model, evaluation, comparison. Needs no Ray."""
