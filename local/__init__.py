"""The cloud on a laptop: OSS that verifies every V4 signature, and Function Compute's HTTP trigger.

Standard library only. `README.md` beside this file says what it does and what it does not.
"""
