# remove_policy.sh: what a killed installation of ours forbade is allowed again.
restore_policy
