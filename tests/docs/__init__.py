"""The documents: each command and each configuration in README.md and docs/ is run, and the site is built."""
