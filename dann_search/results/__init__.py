"""What an experiment left on storage: leaderboard, best, evaluation, comparison. Needs no Ray."""
