"""What keeps the daemon going in the background: recovery, snapshots, late data, retention."""
