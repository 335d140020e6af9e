#!/usr/bin/perl
# queuelist.pl QUEUE: what qmHandle -l prints, with headers as they stand, for
# every message that has an info file, and then the statistics.
use strict;
use warnings;

my $queue = shift // die "usage: queuelist.pl QUEUE\n";
my ($total, %count) = (0);

sub names {
	my ($dir) = @_;
	opendir(my $d, $dir) or die "$dir: $!\n";
	return grep { $_ ne '.' && $_ ne '..' } readdir $d;
}

# records returns the records of a file, or nothing where there is none.
sub records {
	my ($path) = @_;
	open(my $f, '<', $path) or return;
	local $/ = "\0";
	my @records = <$f>;
	chomp @records;
	return @records;
}

# fields returns the first line of each header field.
sub fields {
	my ($f) = @_;
	my %field;
	while (my $line = <$f>) {
		last if $line eq "\n";
		$field{lc $1} //= $2 if $line =~ /^(From|To|Cc|Subject|Date):[ \t]*(.*)/i;
	}
	return %field;
}

for my $dir (names("$queue/mess")) {
	for my $n (names("$queue/mess/$dir")) {
		$total++;
		my ($sender) = records("$queue/info/$dir/$n");
		next unless defined $sender;
		for my $channel ('local', 'remote') {
			$count{$channel}++ if records("$queue/$channel/$dir/$n");
		}
		open(my $f, '<', "$queue/mess/$dir/$n") or next;
		my %field = fields($f);
		print "$n ($dir, $dir/$n)\n  Return-path: ", substr($sender, 1), "\n";
		for my $name ('From', 'To', 'Cc', 'Subject', 'Date') {
			print "  $name: $field{lc $name}\n" if defined $field{lc $name};
		}
		print '  Size: ', -s $f, " bytes\n\n";
	}
}
printf "Total messages: %d\n", $total;
printf "Messages with local recipients: %d\n", $count{local} // 0;
printf "Messages with remote recipients: %d\n", $count{remote} // 0;
printf "Messages with bounces: %d\n", scalar names("$queue/bounce");
printf "Messages in preprocess: %d\n", scalar names("$queue/todo");
