
withdraw(ARGV[1], ARGV[2])
