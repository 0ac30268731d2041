/* What libxlutil makes of disk specifications: a line of standard input each, a line of standard output each. */
#include <libxlutil.h>
#include <stdio.h>
#include <string.h>

static const char *text(const char *value) { return value && *value ? value : "-"; }

static char flag(libxl_defbool value) {
	return libxl_defbool_is_default(value) ? '-' : libxl_defbool_val(value) ? '1' : '0';
}

int main(void) {
	char line[4096];
	FILE *report = fopen("/dev/null", "w");
	XLU_Config *config = xlu_cfg_init(report, "test");
	while (fgets(line, sizeof line, stdin)) {
		const char *specification = line;
		libxl_device_disk disk;
		line[strcspn(line, "\n")] = 0;
		libxl_device_disk_init(&disk);
		if (xlu_disk_parse(config, 1, &specification, &disk))
			puts("refused");
		else
			printf("target=%s format=%s vdev=%s write=%d cdrom=%d discard=%c trusted=%c script=%s backend=%s/%s specification=%s colo=%c\n",
			       text(disk.pdev_path), libxl_disk_format_to_string(disk.format), text(disk.vdev), disk.readwrite,
			       disk.is_cdrom, flag(disk.discard_enable), flag(disk.trusted), text(disk.script),
			       text(disk.backend_domname), libxl_disk_backend_to_string(disk.backend),
			       libxl_disk_specification_to_string(disk.specification), flag(disk.colo_enable));
		libxl_device_disk_dispose(&disk);
	}
	return 0;
}
