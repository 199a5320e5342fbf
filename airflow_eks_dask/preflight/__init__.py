"""
What would stop a bootstrap, found out before anything is made.

Each check looks at one thing, changes nothing, and yields what it finds. One that can't be made is a finding itself.
"""
