"""Speed, side by side with what else could be deployed: `python -m bench --help`."""
