"""Data that ships with the relay, in YAML: what is known of the providers of this world.

`relay.config.shipped` reads it. Every file may be copied into the configuration and edited.
"""
