"""Small disks, each with one thing wrong or different, and what is said of them."""
