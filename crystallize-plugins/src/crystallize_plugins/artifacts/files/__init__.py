"""What lies in a run's folder beside the database: names and places, files that survive, JSON for people."""
