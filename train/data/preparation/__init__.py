"""From licensed sets, folders of pictures and other renders to prepared data: aligned crops in shards.

A kind of source has one file, which lists what there is to make (`plan.Plan`) and counts what it must leave out. The
rest is common: `crops` makes shards of a plan in worker processes, `run` stores them and continues what was begun,
`summary` says what came of it.
"""
