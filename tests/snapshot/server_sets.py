"""Packages of servers as people ask for them, out of Alpine 3.19's full indexes."""

SETS: dict[str, tuple[str, ...]] = {
    "a droplet": ("alpine-base", "linux-virt", "mkinitfs", "openssh-server", "chrony", "sfdisk"),
    "a web server": ("alpine-base", "nginx", "postgresql16", "php83-fpm", "certbot", "fail2ban"),
    "a host of containers": ("alpine-base", "docker", "docker-cli-compose", "nftables", "htop"),
    "a database": ("alpine-base", "mariadb", "mariadb-client", "redis", "pgbackrest", "openrc"),
    "a mail server": ("alpine-base", "postfix", "dovecot", "rspamd", "opendkim", "acme.sh"),
    "a name server": ("alpine-base", "bind", "unbound", "knot", "bind-tools", "chrony"),
    "a proxy": ("alpine-base", "haproxy", "varnish", "squid", "caddy", "iptables"),
    "a virtual private network": ("alpine-base", "wireguard-tools", "openvpn", "strongswan"),
    "monitoring": ("alpine-base", "prometheus", "grafana", "prometheus-node-exporter", "collectd"),
    "a cluster node": ("alpine-base", "containerd", "cri-tools", "cni-plugins", "runc", "kubectl"),
    "a Git server": ("alpine-base", "gitea", "git", "git-lfs", "openssh", "sqlite"),
    "Python programs": ("alpine-base", "python3", "py3-pip", "py3-django", "uwsgi", "py3-psycopg2"),
    "a build machine": (
        "alpine-base",
        "build-base",
        "cmake",
        "go",
        "rust",
        "cargo",
        "nodejs",
        "npm",
    ),
    "a file server": ("alpine-base", "samba", "nfs-utils", "rsync", "vsftpd", "e2fsprogs-extra"),
    "a cloud image": (
        *("alpine-base", "cloud-init", "linux-lts", "grub-bios", "syslinux", "tiny-cloud", "sudo"),
        *("bash", "docs", "dhcpcd", "openssh", "e2fsprogs-extra"),
    ),
}
"""Names by what the server is for."""
