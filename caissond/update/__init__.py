"""What an update is: policy, steps and their undos, the gate, recovery."""
