"""What is installed, found by name through entry points, and loaded when it is asked for."""
