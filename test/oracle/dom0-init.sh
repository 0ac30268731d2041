#!/bin/busybox sh
# /init of the dom0 in which real Xen runs the tiny guests: starts Debian's toolstack, runs each guest of /guests (NAME.cfg) to its end,
# and says on the console what the guest said, how it ended, and what Xen logged meanwhile. Read by real-xen.ts.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run/xen /run/xenstored /var/lib/xen /var/lib/xenstored /var/log/xen/console /var/lock
/bin/busybox --install -s /bin
export PATH=/bin:/usr/lib/xen-4.17/bin LD_LIBRARY_PATH=/lib/x86_64-linux-gnu
ln -s /run /var/run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for module in /modules/*.ko; do insmod "$module"; done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xen/xenstored.pid
until [ -S /run/xenstored/socket ]; do sleep 0.1; done
xen-init-dom0 >/dev/null
xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xen/xenconsoled.pid
for config in /guests/*.cfg; do
	name=${config##*/}
	name=${name%.cfg}
	xl dmesg -c >/dev/null
	timeout 60 xl create -F "$config" >/tmp/xl 2>&1
	sleep 0.1
	xl destroy "$name" >/dev/null 2>&1
	echo "BEGIN $name"
	cat "/var/log/xen/console/guest-$name.log"
	sed -n 's/.*has shut down, reason code \([0-9]*\).*/\nEND \1/p' /tmp/xl
	sed 's/^/LOG /' /tmp/xl
	xl dmesg | sed 's/^/LOG /'
done
echo COMPLETE
poweroff -f
