"""Owns the command line: `evalrunner COMMAND …`. Results go to stdout, messages and progress to stderr."""
