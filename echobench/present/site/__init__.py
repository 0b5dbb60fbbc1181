"""A static site of records from many machines: who is first, where, and what that rests on."""
