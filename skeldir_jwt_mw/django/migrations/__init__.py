"""The schema as Django migrations, which run the same SQL files as every other way."""
