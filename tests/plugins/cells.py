"""Small versions of the tasks, as `--task` takes them: one for each kind of network."""

from pathlib import Path

CHAT = Path(__file__).parents[2] / "docs" / "chat.jsonl"
"""The file of pairs that the documentation shows."""

ECHO = "whole[length=12,symbols=10,units=20,batch=4,sequences=3]"
"""An echo that is certified in a moment. Many tests run this one cell, so that its reference
and its programs are made once."""

SMALL = (
    "whole[length=12,symbols=10,units=6,batch=4,sequences=3]",
    "reverse[shortest=2,longest=5,symbols=10,units=6,sequences=4]",  # attention and a mask
    "masked[n_out=2,length=8,symbols=10,units=6,sequences=3]",
    "regression[length=8,symbols=10,units=6,sequences=3]",
    "stateless[stateful=true,length=12,symbols=10,units=6]",  # more updates than are unrolled
    "one-to-one[n_out=2,length=8,symbols=10,units=6,sequences=3]",
    "many-to-one[n_out=2,length=8,symbols=10,units=6,sequences=3]",
    "copy[symbols=5,items=2,blanks=70,units=6,sequences=4]",  # more steps than are unrolled
)

COMPILED = "many-to-one[n_out=2,length=8,symbols=10,units=6,sequences=3]"
"""The one that is compiled for torch as well, which takes long."""

LEARNT = (
    "long-echo[n_in=3,length=8,symbols=8,units=48,sequences=16,learning_rate=0.02]",
    "attention[n_in=3,length=8,symbols=8,units=32,sequences=16,learning_rate=0.02]",
    "reverse[shortest=1,longest=3,symbols=8,units=32,sequences=64,learning_rate=0.02]",
    "masked[length=8,symbols=8,units=24,sequences=8]",
    "masked[n_out=2,n_in=3,length=8,symbols=8,units=32,sequences=16]",
    "masked[how=value,length=8,symbols=8,units=24,sequences=8]",
    "regression[length=8,symbols=4,units=24,sequences=8]",
    "stateless[length=8,n_in=3,symbols=8,units=24]",
    "one-to-one[length=8,n_in=3,symbols=8,units=48,sequences=16]",
    "many-to-one[length=8,n_in=3,symbols=8,units=48,sequences=16]",
    "lag[length=8,symbols=8,lag=2,units=32,sequences=64,learning_rate=0.02]",
    "copy[symbols=4,items=2,blanks=2,units=32,sequences=64,learning_rate=0.02]",
    "repeat-copy[symbols=4,shortest=2,longest=2,repeats=2,units=32,sequences=64,learning_rate=0.02]",
    "selective-copy[symbols=4,items=2,steps=4,units=32,sequences=64,learning_rate=0.02]",
    "associative-recall[symbols=2,values=3,pairs=2,units=64,sequences=64,learning_rate=0.02]",
    "text[length=8,n_in=3,units=32,sequences=8]",
    f"pairs[path={CHAT},units=32]",
)
"""Every task at a size that is learnt in a second."""
