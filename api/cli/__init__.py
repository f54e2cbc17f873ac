"""The command line `nichegraph`, one file per group of commands."""
