#!/bin/sh
# StarRocks' stop_be.sh [-g] [--timeout SECONDS] --store DIR: with -g the backend's graceful exit, without it SIGKILL.
case " $* " in *" -g "*) hard= ;; *) hard=--hard ;; esac
exec "${OUTLAST:-outlast}" stop $hard "$@"
