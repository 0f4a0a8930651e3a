"""A GitHub runner on this machine: an unprivileged user, few programs, and act for the jobs."""
