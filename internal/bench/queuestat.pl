#!/usr/bin/perl
# queuestat.pl QUEUE: what qmHandle -s prints, from names alone: everything that
# stands in mess, info, the channels, bounce and todo.
use strict;
use warnings;

my $queue = shift // die "usage: queuestat.pl QUEUE\n";

sub names {
	my ($dir) = @_;
	opendir(my $d, $dir) or die "$dir: $!\n";
	return grep { $_ ne '.' && $_ ne '..' } readdir $d;
}

# split_names returns the numbers below a directory with sub-directories.
sub split_names {
	my ($place) = @_;
	return map { names("$queue/$place/$_") } names("$queue/$place");
}

my %mess = map { $_ => 1 } split_names('mess');
my %info = map { $_ => 1 } split_names('info');
my @local = grep { $info{$_} } split_names('local');
my @remote = grep { $info{$_} } split_names('remote');
my @bounce = grep { $mess{$_} } names("$queue/bounce");
my @todo = grep { $mess{$_} } names("$queue/todo");

printf "Total messages: %d\n", scalar keys %mess;
printf "Messages with local recipients: %d\n", scalar @local;
printf "Messages with remote recipients: %d\n", scalar @remote;
printf "Messages with bounces: %d\n", scalar @bounce;
printf "Messages in preprocess: %d\n", scalar @todo;
