# RDMSR and WRMSR of a PV kernel: who may read and write what. Values only where Xen sets them itself.
	.include "guest.inc"
	.macro register name, number
	mov $\number, %ecx
	attempt \name\().read, rdmsr
	.endm
	.macro rewrite name, number
	mov $\number, %ecx
	attempt \name\().read, rdmsr
	mov $\number, %ecx
	attempt \name\().write-same, wrmsr
	.endm
	.macro write name, number, low=0, high=0
	mov $\number, %ecx
	mov $\low, %eax
	mov $\high, %edx
	attempt \name, wrmsr
	.endm
	guest "msr"
	rewrite efer, 0xc0000080
	show efer.value, %rax
	write efer.change, 0xc0000080, 0
	rewrite star, 0xc0000081
	rewrite lstar, 0xc0000082
	rewrite cstar, 0xc0000083
	rewrite sfmask, 0xc0000084
	rewrite fs_base, 0xc0000100
	rewrite gs_base, 0xc0000101
	rewrite kernel_gs_base, 0xc0000102
	register tsc_aux, 0xc0000103
	write fs_base.good, 0xc0000100, 0x1000, 0x7000
	register fs_base.again, 0xc0000100
	show fs_base.low, %rax
	show fs_base.high, %rdx
	write fs_base.not-canonical, 0xc0000100, 0, 0x8000
	write gs_base.not-canonical, 0xc0000101, 0, 0x8000
	write kernel_gs_base.not-canonical, 0xc0000102, 0, 0x8000
	write fs_base.zero, 0xc0000100
	register apic_base, 0x1b
	write apic_base.write, 0x1b, 0xfee00900
	register feature_control, 0x3a
	write feature_control.write, 0x3a, 0
	rewrite pat, 0x277
	write pat.change, 0x277, 0x01010101, 0x01010101
	write pat.reserved, 0x277, 0x02020202
	rewrite mtrr_cap, 0xfe
	rewrite mtrr_def_type, 0x2ff
	rewrite mtrr_fixed, 0x250
	rewrite mtrr_variable, 0x200
	rewrite debugctl, 0x1d9
	rewrite misc_enable, 0x1a0
	rewrite mcg_cap, 0x179
	write mcg_cap.change, 0x179, 0
	rewrite mcg_status, 0x17a
	rewrite mc0_ctl, 0x400
	rewrite mc0_status, 0x401
	rewrite sysenter_cs, 0x174
	rewrite sysenter_esp, 0x175
	rewrite sysenter_eip, 0x176
	register x2apic_id, 0x802
	register tsc_deadline, 0x6e0
	register tsc_adjust, 0x3b
	register spec_ctrl, 0x48
	register pred_cmd, 0x49
	register arch_capabilities, 0x10a
	register core_capabilities, 0xcf
	register flush_cmd, 0x10b
	register tsx_ctrl, 0x122
	register misc_features, 0x140
	register perf_ctl, 0x199
	register perf_status, 0x198
	register perf_capabilities, 0x345
	register perf_global_ctrl, 0x38f
	register perfctr0, 0xc1
	register perfevtsel0, 0x186
	register xss, 0xda0
	register amd_syscfg, 0xc0010010
	register amd_hwcr, 0xc0010015
	register amd_ls_cfg, 0xc0011020
	register amd_k8_top_mem1, 0xc001001a
	register amd_patch_level, 0x8b
	register hypervisor.first, 0x40000000
	show hypervisor.first.value, %rax
	register hypervisor.second, 0x40000001
	write hypervisor.first.write, 0x40000000
	register hypervisor.last, 0x400000ff
	register p5_mc_addr, 0
	show p5_mc_addr.value, %rax
	register p5_mc_type, 1
	show p5_mc_type.value, %rax
	register none.2, 2
	register none.12345678, 0x12345678
	register none.ffffffff, 0xffffffff
	write p5_mc_addr.write, 0
	write none.ffffffff.write, 0xffffffff
	write tsc.write, 0x10
	register smm_base, 0x9e
	register platform_info, 0xce
	register ucode, 0x8b
	write ucode.write, 0x8b
	register platform_id, 0x17
	write microcode_update, 0x79
	done
