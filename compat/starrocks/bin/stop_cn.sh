#!/bin/sh
# StarRocks' stop_cn.sh [-g] [--timeout SECONDS] --store DIR: with -g the compute node's graceful exit, without it SIGKILL.
case " $* " in *" -g "*) hard= ;; *) hard=--hard ;; esac
exec "${OUTLAST:-outlast}" stop $hard "$@"
