"""This computer: its facts and speed, its cores, and what must not leave it."""
