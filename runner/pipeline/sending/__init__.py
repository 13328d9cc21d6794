"""Owns a session: rows in, requests out at the pace that servers permit, answers into the journal."""
