#!/bin/bash
# Runs a node of a Galera cluster as process 1, with the options that it is given. At its first start a node with
# GALERA=new makes the cluster, as entrypoint.sh makes a server; one with GALERA=join is given all data by another
# node. Afterwards each joins whoever is there.
set -euo pipefail

data=/var/lib/mysql
mkdir -p "$data" /run/mysqld
chown mysql:mysql "$data" /run/mysqld
chmod 755 /run/mysqld
if [ ! -d "$data/mysql" ] && [ "${GALERA:?new or join}" = new ]; then
    exec entrypoint.sh "$@" --wsrep-new-cluster
fi
exec mariadbd "$@"
