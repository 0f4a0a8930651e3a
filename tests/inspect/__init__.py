"""Small disks, each with one error or one difference, and their inspection."""
