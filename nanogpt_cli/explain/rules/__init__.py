"""One small function per finding; a file for learning, stability, speed, bookkeeping and endings each.

Every threshold is a named constant with its reason. The common aim: a false alarm is worse than silence.
"""
