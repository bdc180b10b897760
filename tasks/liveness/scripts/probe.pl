# probe.pl ROLE NAME USER GROUP ADDRESS SECONDS [PATH MODE SOURCE]...: what this machine sees of a share.
# ROLE is node or server, MODE ro or rw. SOURCE is, on a node, the directory that PATH has to be, or - for an NFS
# mount; on the server the mount point that PATH has to lie on, or - for any.
# Nothing here waits for a file system: what touches one is a child, which is killed or, when that cannot be,
# left behind, and then no other is made for that path while it lives. Needs nothing but perl-base.
use strict;
use warnings;
use Errno;
use Fcntl qw(:flock F_GETFL F_SETFL O_CREAT O_EXCL O_NOFOLLOW O_NONBLOCK O_RDWR O_WRONLY);
use IO::Handle;
use POSIX qw(WNOHANG setsid);
use Socket qw(AF_INET AF_INET6 SOCK_STREAM SOL_SOCKET SO_ERROR inet_pton pack_sockaddr_in pack_sockaddr_in6);

use constant { NFS_PORT => 2049, NFS_PROGRAM => 100003, NFS_VERSION => 4, KILL_SECONDS => 0.3 };

my ($role, $name, $user, $group, $address, $limit, @asked) = @ARGV;
chdir '/' or die "cannot go to /: $!\n";
$SIG{PIPE} = 'IGNORE';
my $precise = eval { require Time::HiRes; 1 };
my $deadline = now() + $limit;
my (undef, undef, $uid, $gid, undef, undef, undef, $home) = getpwnam $user;
my $web = getgrnam $group;
say_line('ids', map { defined $_ ? $_ : '-' } $uid, $gid, $web);

my $marks = $> == 0 ? '/run/packmaster' : "$home/.packmaster";
mkdir $marks, 0755;
my @probes;
while (my ($path, $mode, $source) = splice @asked, 0, 3) {
    my $kind = kind_at($path);
    my $probe = { path => $path, mode => $mode, source => $source, kind => $kind };
    push @probes, $probe;
    # Where nothing is mounted, only the disk beneath would be asked, and be written to.
    $probe->{over} = $role eq 'server' ? $source ne '-' && kind_at($source) eq '-'
        : $source eq '-' && $kind !~ /^(nfs4?|autofs)$/;
    begin($probe) unless $probe->{over};
}
say_line('null', ask_null());
collect();
clear_away();
show_table('mountinfo', '/proc/self/mountinfo');
show_table('drained', '/run/packmaster/drained');
show_server() if $role eq 'server';

sub say_line { print join("\t", @_), "\n" }

sub now {
    return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) if $precise;
    open my $file, '<', '/proc/uptime' or return time;
    return (split ' ', <$file>)[0];
}

sub errno_name { my ($found) = sort grep { $!{$_} } keys %!; return $found || 'E' . ($! + 0) }

# The type of what is mounted at exactly this path; of several the last is on top.
sub kind_at {
    my ($path, $found) = (shift, '-');
    open my $table, '<', '/proc/self/mountinfo' or die "cannot read the mount table: $!\n";
    while (<$table>) {
        my ($head, $tail) = split / - /, $_, 2;
        $found = (split / /, $tail)[0] if (split / /, $head)[4] eq $path;
    }
    return $found;
}

# Starts the child for a path, unless an earlier one lives: it holds the lock, and `since` is when it began.
sub begin {
    my $probe = shift;
    (my $file = $probe->{path}) =~ tr{/}{-};
    if (!sysopen my $mark, "$marks/probe$file", O_CREAT | O_RDWR | O_NOFOLLOW, 0600) {
        say_line('unable', $probe->{path}, "$marks/probe$file: $!");
        $probe->{over} = 1;
    } elsif (!flock $mark, LOCK_EX | LOCK_NB) {
        my $since = <$mark>;
        $probe->{since} = $1 if ($since // q{}) =~ /^(\d+)$/;
    } else {
        $probe->{since} = time;
        truncate $mark, 0;
        syswrite $mark, $probe->{since};
        pipe my $in, my $out or die "no pipe: $!\n";
        my $pid = fork;
        die "no child: $!\n" unless defined $pid;
        run_child($probe, $in, $out) if $pid == 0;
        @{$probe}{qw(pid in)} = ($pid, $in);
    }
}

# It holds nothing of ours but the lock and the pipe, so nobody waits for it who does not want to.
sub run_child {
    my ($probe, $in, $out) = @_;
    setsid();
    close $in;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';
    select $out;
    $| = 1;
    eval { become_user(); exercise($probe); 1 } or say_line('unable', $probe->{path}, $@ =~ s/\s+/ /gr);
    say_line('done', $probe->{path});
    POSIX::_exit(0);
}

# Root is nobody on a share (root_squash), so it asks as the platform user; its groups are set, too.
sub become_user {
    return if $> != 0;
    die "there is no user $user\n" unless defined $uid;
    my @groups;
    setgrent;
    while (my @entry = getgrent) { push @groups, $entry[2] if grep { $_ eq $user } split ' ', $entry[3] }
    $( = $gid;
    $) = join ' ', $gid, $gid, @groups;
    POSIX::setuid($uid) or die "cannot become $user: $!\n";
}

sub exercise {
    my $probe = shift;
    my ($path, $mode, $source) = @{$probe}{qw(path mode source)};
    my $step = sub {
        my ($what, $action) = @_;
        my $began = now();
        my @values = eval { $action->() };
        my $result = @values ? 'ok' : errno_name();
        say_line('step', $path, $what, $result, sprintf('%.3f', now() - $began), @values);
        return $result eq 'ok';
    };
    my @root;
    $step->('root', sub { @root = stat $path or return; @root[4, 5], sprintf('%04o', $root[2] & 07777), $root[1] }) or return;
    if ($probe->{kind} eq 'autofs') { return unless kind_at($path) =~ /^nfs/ }
    if ($source ne '-' && $role eq 'node') {
        $step->('same', sub { my @own = stat $source or return; "@own[0, 1]" eq "@root[0, 1]" ? 'yes' : 'no' });
    }
    my $none = sprintf '%s/.packmaster-none-%08x%08x', $path, rand 2**32, rand 2**32;
    $step->('lookup', sub { !lstat $none && $!{ENOENT} ? 'absent' : () }) or return;
    $step->('token', sub { read_token("$path/.packmaster-token") });
    $step->('write', sub { write_file("$path/.packmaster-probe-$name") }) if $mode eq 'rw';
    measure($step, $path) if $role eq 'server';
}

# A known name may come from a cache; opening it asks the server anew (close-to-open consistency, nfs(5)).
sub read_token {
    open my $file, '<', shift or return $!{ENOENT} ? 'none' : ();
    my $read = sysread $file, my $text, 200;
    return unless defined $read;
    $text =~ s/[^\x21-\x7e]+/ /g;
    return "token $text";
}

# What a node leaves is what the server looks at, at any moment, whose it is there: it is replaced, and never away.
sub write_file {
    my $path = shift;
    unlink "$path.new" or $!{ENOENT} or return;
    sysopen my $file, "$path.new", O_CREAT | O_EXCL | O_WRONLY, 0640 or return;
    if (!((syswrite $file, "packmaster $name\n") && $file->sync && close $file)) {
        my $why = $!;
        unlink "$path.new";
        $! = $why;
        return;
    }
    rename "$path.new", $path or return;
    unlink $path if $role eq 'server';
    return 'written';
}

sub measure {
    my ($step, $path) = @_;
    $step->('space', sub {
        open my $asked, '-|', 'stat', '-f', '-c', '%S %b %a %c %d', $path or return;
        return split ' ', <$asked> || '';
    });
    opendir my $here, $path or return;
    for my $entry (readdir $here) {
        next unless $entry =~ /^\.packmaster-probe-([a-z0-9-]+)$/;
        my @seen = lstat "$path/$entry" or next;
        say_line('seen', $path, $1, @seen[4, 5]);
    }
}

# One call of procedure 0 over TCP (RFC 5531): ok, refused, silent or odd, and how long it took.
sub ask_null {
    my $began = now();
    my $since = sub { sprintf '%.3f', now() - $began };
    my $six = $address =~ /:/;
    my $packed = inet_pton($six ? AF_INET6 : AF_INET, $address);
    return ('odd', 0, "$address is no address") unless defined $packed;
    socket my $socket, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 0 or return ('odd', 0, "no socket: $!");
    fcntl $socket, F_SETFL, O_NONBLOCK | fcntl $socket, F_GETFL, 0;
    my $end = $six ? pack_sockaddr_in6(NFS_PORT, $packed) : pack_sockaddr_in(NFS_PORT, $packed);
    if (!connect $socket, $end) {
        return ('refused', $since->(), "$!") unless $!{EINPROGRESS};
        return ('silent', $since->(), 'no connection') unless ready($socket, 1);
        if ($! = unpack 'i', getsockopt $socket, SOL_SOCKET, SO_ERROR) { return ('refused', $since->(), "$!") }
    }
    my $xid = int rand 2**31;
    my $call = pack 'N11', 0x80000000 | 40, $xid, 0, 2, NFS_PROGRAM, NFS_VERSION, 0, 0, 0, 0, 0;
    return ('refused', $since->(), "$!") unless syswrite $socket, $call;
    my $reply = '';
    while (length $reply < 28) {
        return ('silent', $since->(), 'connected, no answer') unless ready($socket, 0);
        my $read = sysread $socket, $reply, 4096, length $reply;
        return ('refused', $since->(), defined $read ? 'the connection was closed' : "$!") unless $read;
    }
    my (undef, $id, $kind, $denied, undef, undef, $status) = unpack 'N7', $reply;
    my $fine = $id == $xid && $kind == 1 && $denied == 0 && $status == 0;
    return ($fine ? 'ok' : 'odd', $since->(), $fine ? '' : 'no NFS 4 there');
}

sub ready {
    my ($socket, $writing) = @_;
    my $bits = '';
    vec($bits, fileno $socket, 1) = 1;
    my ($read, $write) = $writing ? (undef, $bits) : ($bits, undef);
    my $left = $deadline - now();
    return $left > 0 && select($read, $write, undef, $left) > 0;
}

# What the children say, until all are done or the time is over. An earlier one that is young may be no more
# than another run that is just at work, so it is waited for.
sub collect {
    while ((my $left = $deadline - now()) > 0) {
        my @later = grep { !$_->{pid} && !$_->{over} && time - ($_->{since} // time) <= $limit } @probes;
        begin($_) for @later;
        my @open = grep { $_->{pid} && !$_->{over} } @probes;
        last unless @open || @later;
        my $bits = '';
        vec($bits, fileno $_->{in}, 1) = 1 for @open;
        next unless select($bits, undef, undef, @later && $left > 0.05 ? 0.05 : $left) > 0;
        for my $probe (grep { vec $bits, fileno $_->{in}, 1 } @open) {
            my $read = sysread $probe->{in}, my $text, 65536;
            $probe->{said} .= $text if $read;
            $probe->{over} = 1 unless $read;
        }
    }
    for my $probe (@probes) {
        print grep { /\n\z/ } split /(?<=\n)/, $probe->{said} || '';
        say_line('hung', $probe->{path}, $probe->{since} || time) unless $probe->{over};
    }
}

# Most of what hangs can be killed. What cannot is left: it ends when the server answers.
sub clear_away {
    my %left = map { $_->{pid} => 1 } grep { $_->{pid} } @probes;
    # Both, for one that has only just begun is not yet a group of its own.
    kill 'KILL', map { ($_->{pid}, -$_->{pid}) } grep { $_->{pid} && !$_->{over} } @probes;
    my $ends = now() + KILL_SECONDS;
    while (%left && now() < $ends) {
        delete @left{grep { waitpid($_, WNOHANG) != 0 } keys %left};
        select undef, undef, undef, 0.01 if %left;
    }
    say_line('left', join ' ', sort keys %left) if %left;
}

sub show_table {
    my ($word, $file) = @_;
    open my $table, '<', $file or return;
    while (<$table>) { chomp; say_line($word, $_) }
}

sub show_server {
    my $count = '';
    if (open my $threads, '<', '/proc/fs/nfsd/threads') { chomp($count = <$threads> // '') }
    say_line('threads', $count =~ /^\d+$/ ? $count : 0);
    # Until its grace period is over nobody can open a file, and clients claim again what they had.
    if (open my $ended, '<', '/proc/fs/nfsd/v4_end_grace') { say_line('grace', 1) if (<$ended> // '') =~ /^N/ }
    show_table('export', '/var/lib/nfs/etab');
}
