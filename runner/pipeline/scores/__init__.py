"""Owns the scores of a run: made while parts are sealed or anew, summed up, and judged by gates."""
