"""The machinery behind plugins: finding, checking, ordering, building, calling and locking them.

No plugin imports it. What plugins, commands and tools need of it is published in `crystallize.hooks`.
"""
