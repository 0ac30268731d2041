/**
 * What the processor has to implement, by Intel's opcode maps (SDM volume 2, appendix A), independent of the table in
 * src/cpu/semantics: coverage is measured against it, and the oracle is tested with it (host against host). One line
 * a mnemonic: name, then encodings in the table's notation, separated by "|"; behind ";" options.
 */
import type { FormOptions } from "../../../src/cpu/semantics/table.ts";

const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
const SHIFTS = ["rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"];
const CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];

const INTEGER = `
mov 88 Eb,Gb|89 Ev,Gv|8a Gb,Eb|8b Gv,Ev|b0+r Zb,Ib|b8+r Zv,Iv|c6 /0 Eb,Ib|c7 /0 Ev,Iz|a0 AL,Ob|a1 rAX,Ov|a2 Ob,AL|a3 Ov,rAX
movs a4|a5; rep
stos aa|ab; rep
lods ac|ad; rep
cmps a6|a7; repcc
scas ae|af; repcc
xchg 86 Eb,Gb|87 Ev,Gv; lock
xchg 90+r Zv,rAX
test 84 Eb,Gb|85 Ev,Gv|a8 AL,Ib|a9 rAX,Iz|f6 /0 Eb,Ib|f7 /0 Ev,Iz
not f6 /2 Eb|f7 /2 Ev; lock
neg f6 /3 Eb|f7 /3 Ev; lock
mul f6 /4 Eb|f7 /4 Ev
imul f6 /5 Eb|f7 /5 Ev|0f af Gv,Ev|69 Gv,Ev,Iz|6b Gv,Ev,Ibs
div f6 /6 Eb|f7 /6 Ev
idiv f6 /7 Eb|f7 /7 Ev
inc fe /0 Eb|ff /0 Ev; lock
dec fe /1 Eb|ff /1 Ev; lock
push 50+r Zv|68 Iz|6a Ibs|ff /6 Ev; default64
pop 58+r Zv|8f /0 Ev; default64
pushf 9c; default64
popf 9d; default64
lea 8d Gv,M
movsxd 63 Gv,Ed
cbw 98; sized
cwd 99; sized
sahf 9e
lahf 9f
cmc f5
clc f8
stc f9
cli fa
sti fb
cld fc
std fd
hlt f4
nop 0f 1f /0 Ev
leave c9; default64
enter c8 Iw,Ib; default64
xlat d7
call e8 Jz|ff /2 Ev; 64
jmp e9 Jz|eb Jb|ff /4 Ev; 64
ret c3|c2 Iw; 64
loopne e0 Jb; 64
loope e1 Jb; 64
loop e2 Jb; 64
jcxz e3 Jb; 64
int3 cc
in e4 AL,Ib|e5 rAX,Ib|ec AL,DX|ed rAX,DX
out e6 Ib,AL|e7 Ib,rAX|ee DX,AL|ef DX,rAX
shld 0f a4 Ev,Gv,Ib|0f a5 Ev,Gv,CL
shrd 0f ac Ev,Gv,Ib|0f ad Ev,Gv,CL
bt 0f a3 Ev,Gv|0f ba /4 Ev,Ib
bts 0f ab Ev,Gv|0f ba /5 Ev,Ib; lock
btr 0f b3 Ev,Gv|0f ba /6 Ev,Ib; lock
btc 0f bb Ev,Gv|0f ba /7 Ev,Ib; lock
bsf 0f bc Gv,Ev
bsr 0f bd Gv,Ev
popcnt f3 0f b8 Gv,Ev
movzx 0f b6 Gv,Eb|0f b7 Gv,Ew
movsx 0f be Gv,Eb|0f bf Gv,Ew
cmpxchg 0f b0 Eb,Gb|0f b1 Ev,Gv; lock
xadd 0f c0 Eb,Gb|0f c1 Ev,Gv; lock
cmpxchg8b 0f c7 /1 Mq; lock
bswap 0f c8+r Zy
movnti np 0f c3 My,Gy
crc32 f2 0f 38 f0 Gy,Eb|f2 0f 38 f1 Gy,Ev
ud2 0f 0b
ud1 0f b9 Gv,Ev
wbinvd 0f 09
invd 0f 08
clts 0f 06
wrmsr 0f 30
rdmsr 0f 32
lgdt 0f 01 /2 M
lidt 0f 01 /3 M
lmsw 0f 01 /6 Ew
invlpg 0f 01 /7 M
lldt 0f 00 /2 Ew
ltr 0f 00 /3 Ew
verr 0f 00 /4 Ew
verw 0f 00 /5 Ew
lar 0f 02 Gv,Ew
lsl 0f 03 Gv,Ew
swapgs 0f 01 =f8
mov 8c Ev,Sw|8e Sw,Ew
mov 0f 20 Rq,Cq|0f 22 Cq,Rq|0f 21 Rq,Dq|0f 23 Dq,Rq
rdfsbase f3 0f ae /0 Ry
rdgsbase f3 0f ae /1 Ry
wrfsbase f3 0f ae /2 Ry
wrgsbase f3 0f ae /3 Ry
clflush np 0f ae /7 Mb
lfence np 0f ae =e8
mfence np 0f ae =f0
sfence np 0f ae =f8
prefetch 0f 18 /0 Mb|0f 18 /1 Mb|0f 18 /2 Mb|0f 18 /3 Mb
iret cf; sized
retf cb|ca Iw
push 0f a0|0f a8; default64
pop 0f a1|0f a9; default64
`;

const SSE = `
ldmxcsr np 0f ae /2 Md
stmxcsr np 0f ae /3 Md
fxsave np 0f ae /0 M
fxrstor np 0f ae /1 M
movups np 0f 10 Vx,Wx|np 0f 11 Wx,Vx
movupd 66 0f 10 Vx,Wx|66 0f 11 Wx,Vx
movss f3 0f 10 Vx,Wd|f3 0f 11 Wd,Vx
movsd f2 0f 10 Vx,Wq|f2 0f 11 Wq,Vx
movlps np 0f 12 Vx,Wq|np 0f 13 Mq,Vx
movlpd 66 0f 12 Vx,Mq|66 0f 13 Mq,Vx
movsldup f3 0f 12 Vx,Wx
movddup f2 0f 12 Vx,Wq
unpcklps np 0f 14 Vx,Wx
unpcklpd 66 0f 14 Vx,Wx
unpckhps np 0f 15 Vx,Wx
unpckhpd 66 0f 15 Vx,Wx
movhps np 0f 16 Vx,Wq|np 0f 17 Mq,Vx
movhpd 66 0f 16 Vx,Mq|66 0f 17 Mq,Vx
movshdup f3 0f 16 Vx,Wx
movaps np 0f 28 Vx,Wx|np 0f 29 Wx,Vx
movapd 66 0f 28 Vx,Wx|66 0f 29 Wx,Vx
cvtpi2ps np 0f 2a Vx,Qq
cvtpi2pd 66 0f 2a Vx,Qq
cvtsi2ss f3 0f 2a Vx,Ey
cvtsi2sd f2 0f 2a Vx,Ey
movntps np 0f 2b Mx,Vx
movntpd 66 0f 2b Mx,Vx
cvttps2pi np 0f 2c Pq,Wq
cvttpd2pi 66 0f 2c Pq,Wx
cvttss2si f3 0f 2c Gy,Wd
cvttsd2si f2 0f 2c Gy,Wq
cvtps2pi np 0f 2d Pq,Wq
cvtpd2pi 66 0f 2d Pq,Wx
cvtss2si f3 0f 2d Gy,Wd
cvtsd2si f2 0f 2d Gy,Wq
ucomiss np 0f 2e Vx,Wd
ucomisd 66 0f 2e Vx,Wq
comiss np 0f 2f Vx,Wd
comisd 66 0f 2f Vx,Wq
movmskps np 0f 50 Gy,Ux
movmskpd 66 0f 50 Gy,Ux
rsqrtps np 0f 52 Vx,Wx
rsqrtss f3 0f 52 Vx,Wd
rcpps np 0f 53 Vx,Wx
rcpss f3 0f 53 Vx,Wd
andps np 0f 54 Vx,Wx
andpd 66 0f 54 Vx,Wx
andnps np 0f 55 Vx,Wx
andnpd 66 0f 55 Vx,Wx
orps np 0f 56 Vx,Wx
orpd 66 0f 56 Vx,Wx
xorps np 0f 57 Vx,Wx
xorpd 66 0f 57 Vx,Wx
cvtps2pd np 0f 5a Vx,Wq
cvtpd2ps 66 0f 5a Vx,Wx
cvtss2sd f3 0f 5a Vx,Wd
cvtsd2ss f2 0f 5a Vx,Wq
cvtdq2ps np 0f 5b Vx,Wx
cvtps2dq 66 0f 5b Vx,Wx
cvttps2dq f3 0f 5b Vx,Wx
movd np 0f 6e Pq,Ey|np 0f 7e Ey,Pq|66 0f 6e Vx,Ey|66 0f 7e Ey,Vx
movq np 0f 6f Pq,Qq|np 0f 7f Qq,Pq|f3 0f 7e Vx,Wq|66 0f d6 Wq,Vx
movdqa 66 0f 6f Vx,Wx|66 0f 7f Wx,Vx
movdqu f3 0f 6f Vx,Wx|f3 0f 7f Wx,Vx
pshufw np 0f 70 Pq,Qq,Ib
pshufd 66 0f 70 Vx,Wx,Ib
pshufhw f3 0f 70 Vx,Wx,Ib
pshuflw f2 0f 70 Vx,Wx,Ib
punpcklqdq 66 0f 6c Vx,Wx
punpckhqdq 66 0f 6d Vx,Wx
psrlw np 0f 71 /2 Nq,Ib|66 0f 71 /2 Ux,Ib
psraw np 0f 71 /4 Nq,Ib|66 0f 71 /4 Ux,Ib
psllw np 0f 71 /6 Nq,Ib|66 0f 71 /6 Ux,Ib
psrld np 0f 72 /2 Nq,Ib|66 0f 72 /2 Ux,Ib
psrad np 0f 72 /4 Nq,Ib|66 0f 72 /4 Ux,Ib
pslld np 0f 72 /6 Nq,Ib|66 0f 72 /6 Ux,Ib
psrlq np 0f 73 /2 Nq,Ib|66 0f 73 /2 Ux,Ib
psllq np 0f 73 /6 Nq,Ib|66 0f 73 /6 Ux,Ib
psrldq 66 0f 73 /3 Ux,Ib
pslldq 66 0f 73 /7 Ux,Ib
emms np 0f 77
haddpd 66 0f 7c Vx,Wx
haddps f2 0f 7c Vx,Wx
hsubpd 66 0f 7d Vx,Wx
hsubps f2 0f 7d Vx,Wx
cmpps np 0f c2 Vx,Wx,Ib
cmppd 66 0f c2 Vx,Wx,Ib
cmpss f3 0f c2 Vx,Wd,Ib
cmpsd f2 0f c2 Vx,Wq,Ib
pinsrw np 0f c4 Pq,Ew,Ib|66 0f c4 Vx,Ew,Ib
pextrw np 0f c5 Gy,Nq,Ib|66 0f c5 Gy,Ux,Ib|66 0f 3a 15 Ew,Vx,Ib
shufps np 0f c6 Vx,Wx,Ib
shufpd 66 0f c6 Vx,Wx,Ib
addsubpd 66 0f d0 Vx,Wx
addsubps f2 0f d0 Vx,Wx
movq2dq f3 0f d6 Vx,Nq
movdq2q f2 0f d6 Pq,Ux
pmovmskb np 0f d7 Gy,Nq|66 0f d7 Gy,Ux
cvttpd2dq 66 0f e6 Vx,Wx
cvtdq2pd f3 0f e6 Vx,Wq
cvtpd2dq f2 0f e6 Vx,Wx
movntq np 0f e7 Mq,Pq
movntdq 66 0f e7 Mx,Vx
lddqu f2 0f f0 Vx,Mx
maskmovq np 0f f7 Pq,Nq
maskmovdqu 66 0f f7 Vx,Ux
palignr np 0f 3a 0f Pq,Qq,Ib|66 0f 3a 0f Vx,Wx,Ib
pblendvb 66 0f 38 10 Vx,Wx
blendvps 66 0f 38 14 Vx,Wx
blendvpd 66 0f 38 15 Vx,Wx
ptest 66 0f 38 17 Vx,Wx
pmovsxbw 66 0f 38 20 Vx,Wq
pmovsxbd 66 0f 38 21 Vx,Wd
pmovsxbq 66 0f 38 22 Vx,Ww
pmovsxwd 66 0f 38 23 Vx,Wq
pmovsxwq 66 0f 38 24 Vx,Wd
pmovsxdq 66 0f 38 25 Vx,Wq
pmuldq 66 0f 38 28 Vx,Wx
pcmpeqq 66 0f 38 29 Vx,Wx
movntdqa 66 0f 38 2a Vx,Mx
packusdw 66 0f 38 2b Vx,Wx
pmovzxbw 66 0f 38 30 Vx,Wq
pmovzxbd 66 0f 38 31 Vx,Wd
pmovzxbq 66 0f 38 32 Vx,Ww
pmovzxwd 66 0f 38 33 Vx,Wq
pmovzxwq 66 0f 38 34 Vx,Wd
pmovzxdq 66 0f 38 35 Vx,Wq
pcmpgtq 66 0f 38 37 Vx,Wx
pminsb 66 0f 38 38 Vx,Wx
pminsd 66 0f 38 39 Vx,Wx
pminuw 66 0f 38 3a Vx,Wx
pminud 66 0f 38 3b Vx,Wx
pmaxsb 66 0f 38 3c Vx,Wx
pmaxsd 66 0f 38 3d Vx,Wx
pmaxuw 66 0f 38 3e Vx,Wx
pmaxud 66 0f 38 3f Vx,Wx
pmulld 66 0f 38 40 Vx,Wx
phminposuw 66 0f 38 41 Vx,Wx
roundps 66 0f 3a 08 Vx,Wx,Ib
roundpd 66 0f 3a 09 Vx,Wx,Ib
roundss 66 0f 3a 0a Vx,Wd,Ib
roundsd 66 0f 3a 0b Vx,Wq,Ib
blendps 66 0f 3a 0c Vx,Wx,Ib
blendpd 66 0f 3a 0d Vx,Wx,Ib
pblendw 66 0f 3a 0e Vx,Wx,Ib
pextrb 66 0f 3a 14 Eb,Vx,Ib
pextrd 66 0f 3a 16 Ey,Vx,Ib
extractps 66 0f 3a 17 Ed,Vx,Ib
pinsrb 66 0f 3a 20 Vx,Eb,Ib
insertps 66 0f 3a 21 Vx,Wd,Ib
pinsrd 66 0f 3a 22 Vx,Ey,Ib
dpps 66 0f 3a 40 Vx,Wx,Ib
dppd 66 0f 3a 41 Vx,Wx,Ib
mpsadbw 66 0f 3a 42 Vx,Wx,Ib
pcmpestrm 66 0f 3a 60 Vx,Wx,Ib
pcmpestri 66 0f 3a 61 Vx,Wx,Ib
pcmpistrm 66 0f 3a 62 Vx,Wx,Ib
pcmpistri 66 0f 3a 63 Vx,Wx,Ib
`;

/** In np, 66, f3 and f2 forms: packed single, packed double, scalar single, scalar double. */
const ARITHMETIC = "51 sqrt 58 add 59 mul 5c sub 5d min 5e div 5f max";

/** MMX and, with prefix 66, SSE2. */
const PACKED = `60 punpcklbw 61 punpcklwd 62 punpckldq 63 packsswb 64 pcmpgtb 65 pcmpgtw 66 pcmpgtd 67 packuswb 68 punpckhbw
69 punpckhwd 6a punpckhdq 6b packssdw 74 pcmpeqb 75 pcmpeqw 76 pcmpeqd d1 psrlw d2 psrld d3 psrlq d4 paddq d5 pmullw d8 psubusb
d9 psubusw da pminub db pand dc paddusb dd paddusw de pmaxub df pandn e0 pavgb e1 psraw e2 psrad e3 pavgw e4 pmulhuw e5 pmulhw
e8 psubsb e9 psubsw ea pminsw eb por ec paddsb ed paddsw ee pmaxsw ef pxor f1 psllw f2 pslld f3 psllq f4 pmuludq f5 pmaddwd
f6 psadbw f8 psubb f9 psubw fa psubd fb psubq fc paddb fd paddw fe paddd`;
const PACKED_38 = `00 pshufb 01 phaddw 02 phaddd 03 phaddsw 04 pmaddubsw 05 phsubw 06 phsubd 07 phsubsw 08 psignb 09 psignw
0a psignd 0b pmulhrsw 1c pabsb 1d pabsw 1e pabsd`;

const X87 = `
fadd d8 /0 Md|dc /0 Mq
fmul d8 /1 Md|dc /1 Mq
fcom d8 /2 Md|dc /2 Mq
fcomp d8 /3 Md|dc /3 Mq
fsub d8 /4 Md|dc /4 Mq
fsubr d8 /5 Md|dc /5 Mq
fdiv d8 /6 Md|dc /6 Mq
fdivr d8 /7 Md|dc /7 Mq
fld d9 /0 Md|dd /0 Mq|db /5 Mt
fst d9 /2 Md|dd /2 Mq
fstp d9 /3 Md|dd /3 Mq|db /7 Mt
fldcw d9 /5 Mw
fnstcw d9 /7 Mw
fnstsw dd /7 Mw|df =e0
fnstenv d9 /6 M
fiadd da /0 Md|de /0 Mw
fimul da /1 Md|de /1 Mw
ficom da /2 Md|de /2 Mw
ficomp da /3 Md|de /3 Mw
fisub da /4 Md|de /4 Mw
fisubr da /5 Md|de /5 Mw
fidiv da /6 Md|de /6 Mw
fidivr da /7 Md|de /7 Mw
fild db /0 Md|df /0 Mw|df /5 Mq
fisttp db /1 Md|dd /1 Mq|df /1 Mw
fist db /2 Md|df /2 Mw
fistp db /3 Md|df /3 Mw|df /7 Mq
fbld df /4 Mt
fbstp df /6 Mt
fnclex db =e2
fninit db =e3
fwait 9b
fucompp da =e9
fcompp de =d9
`;

const X87_D9 =
	"d0 fnop e0 fchs e1 fabs e4 ftst e5 fxam e8 fld1 e9 fldl2t ea fldl2e eb fldpi ec fldlg2 ed fldln2 ee fldz " +
	"f0 f2xm1 f1 fyl2x f2 fptan f3 fpatan f4 fxtract f5 fprem1 f6 fdecstp f7 fincstp f8 fprem f9 fyl2xp1 fa fsqrt fb fsincos " +
	"fc frndint fd fscale fe fsin ff fcos";
/** Register forms: opcode, digit, mnemonic. */
const X87_STACK =
	"d8 0 fadd d8 1 fmul d8 2 fcom d8 3 fcomp d8 4 fsub d8 5 fsubr d8 6 fdiv d8 7 fdivr d9 0 fld d9 1 fxch da 0 fcmovb da 1 fcmove " +
	"da 2 fcmovbe da 3 fcmovu db 0 fcmovnb db 1 fcmovne db 2 fcmovnbe db 3 fcmovnu db 5 fucomi db 6 fcomi dc 0 fadd dc 1 fmul " +
	"dc 4 fsubr dc 5 fsub dc 6 fdivr dc 7 fdiv dd 0 ffree dd 2 fst dd 3 fstp dd 4 fucom dd 5 fucomp de 0 faddp de 1 fmulp " +
	"de 4 fsubrp de 5 fsubp de 6 fdivrp de 7 fdivp df 5 fucomip df 6 fcomip";

export interface CatalogueEntry {
	readonly name: string;
	readonly encoding: string;
	readonly options: FormOptions;
}

const OPTIONS: Readonly<Record<string, FormOptions>> = {
	lock: { lock: true },
	rep: { rep: "rep", sized: true, addressSized: true },
	repcc: { rep: "repcc", sized: true, addressSized: true },
	"64": { size64: "near" },
	default64: { size64: "default64", sized: true },
	sized: { sized: true },
};

function words(text: string, group: number): string[][] {
	const all = text.trim().split(/\s+/);
	return Array.from({ length: all.length / group }, (_, i) => all.slice(i * group, i * group + group));
}

function list(): CatalogueEntry[] {
	const entries: CatalogueEntry[] = [];
	const add = (name: string, encoding: string, options: FormOptions = {}): void => {
		entries.push({ name, encoding, options });
	};
	for (const line of (INTEGER + SSE + X87).trim().split("\n")) {
		const [head = "", option = ""] = line.split("; ");
		const space = head.indexOf(" ");
		if (space < 0) continue;
		for (const encoding of head.slice(space + 1).split("|")) add(head.slice(0, space), encoding, OPTIONS[option] ?? {});
	}
	const hex = (value: number): string => value.toString(16).padStart(2, "0");
	for (const [i, name] of ALU.entries()) {
		const lock = name === "cmp" ? {} : { lock: true };
		add(name, `${hex(i * 8)} Eb,Gb`, lock);
		add(name, `${hex(i * 8 + 1)} Ev,Gv`, lock);
		add(name, `${hex(i * 8 + 2)} Gb,Eb`);
		add(name, `${hex(i * 8 + 3)} Gv,Ev`);
		add(name, `${hex(i * 8 + 4)} AL,Ib`);
		add(name, `${hex(i * 8 + 5)} rAX,Iz`);
		add(name, `80 /${i} Eb,Ib`, lock);
		add(name, `81 /${i} Ev,Iz`, lock);
		add(name, `83 /${i} Ev,Ibs`, lock);
	}
	for (const [i, name] of SHIFTS.entries()) {
		for (const [opcode, operands] of words("c0 Eb,Ib c1 Ev,Ib d0 Eb,1 d1 Ev,1 d2 Eb,CL d3 Ev,CL", 2)) {
			add(name, `${opcode} /${i} ${operands}`);
		}
	}
	for (const [i, condition] of CONDITIONS.entries()) {
		add(`j${condition}`, `${hex(0x70 + i)} Jb`, { size64: "near" });
		add(`j${condition}`, `0f ${hex(0x80 + i)} Jz`, { size64: "near" });
		add(`set${condition}`, `0f ${hex(0x90 + i)} Eb`);
		add(`cmov${condition}`, `0f ${hex(0x40 + i)} Gv,Ev`);
	}
	for (const [opcode, name] of words(ARITHMETIC, 2)) {
		add(`${name}ps`, `np 0f ${opcode} Vx,Wx`);
		add(`${name}pd`, `66 0f ${opcode} Vx,Wx`);
		add(`${name}ss`, `f3 0f ${opcode} Vx,Wd`);
		add(`${name}sd`, `f2 0f ${opcode} Vx,Wq`);
	}
	for (const [map, text] of [
		["0f", PACKED],
		["0f 38", PACKED_38],
	] as const) {
		for (const [opcode, name] of words(text, 2)) {
			// PUNPCKL reads four bytes in MMX form.
			add(name!, `np ${map} ${opcode} Pq,${/^punpckl/.test(name!) ? "Qd" : "Qq"}`);
			add(name!, `66 ${map} ${opcode} Vx,Wx`);
		}
	}
	for (const [modrm, name] of words(X87_D9, 2)) add(name!, `d9 =${modrm}`);
	for (const [opcode, digit, name] of words(X87_STACK, 3)) {
		for (let i = 0; i < 8; i++) add(name!, `${opcode} =${hex(0xc0 | (Number(digit) << 3) | i)}`);
	}
	return entries;
}

/** Every encoding of 64-bit mode up to SSE4.2, without those of excluded.ts. */
export const catalogue: readonly CatalogueEntry[] = list();
