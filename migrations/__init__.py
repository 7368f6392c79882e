"""The schema of the shared cache, as plain SQL files in the order of their numbers."""
