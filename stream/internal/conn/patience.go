package conn

import "time"

// Patience is how much longer than it should a read may take.
const Patience = 2 * time.Second
