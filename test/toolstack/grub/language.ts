/**
 * GRUB's script language, each feature with what it prints: for our interpreter, and for GRUB itself, which runs the same script as a guest
 * (test/boot/pv-grub.test.ts).
 */

export const SCRIPT = `# words, quotes and variables
set a=1 ; echo "01 $a \${a}2 '$a' \\$a \\"q\\" \\x"
b="two words"
echo 02 $b.
for w in $b; do echo "03 [$w]"; done
for w in "$b" plain; do echo "04 [$w]"; done
empty=
for w in $empty x$empty "$empty"; do echo "05 [$w]"; done
echo '06 single $a "x" \\n'
echo 07 a\\ b c\\
d
echo 08 a#b # a comment
set c=x=y ; echo 09 $c
echo "10 a
b"
# conditions
if [ x$a = x1 ]; then echo 11 yes; else echo 11 no; fi
if [ "$a" = 2 ]; then echo 12 one; elif [ -n "$b" -a ! -z "$b" ]; then echo 12 two; else echo 12 three; fi
if [ "$empty" ]; then echo 13 set; else echo 13 empty; fi
if [ 10 -gt 9 ]; then echo 14 greater; fi
if [ a = b -o c = c ]; then echo 15 or; fi
if test ! a = b; then echo 16 not; fi
if [ "(" a = a ")" -a b = b ]; then echo 17 parentheses; fi
if false; then echo 18 no; else echo 18 "status $?"; fi
if true; then
  if false; then echo 19 no
  else
    echo 19 nested
  fi
fi
if [ a -a "" ]; then echo 20 yes; else echo 20 no; fi
if [ ! "" ]; then echo 21 yes; fi
if [ a != a -o a != b -a c = d ]; then echo 22 yes; else echo 22 no; fi
# functions
function f { echo "23 $1 $2 $#"; set g=changed; return 3; echo never; }
f one "two 2" ; echo "24 $?"
echo 25 $g
function loop {
  for i in 1 2 3 4; do
    if [ $i = 2 ]; then continue; fi
    if [ $i = 4 ]; then break; fi
    echo "26 $i"
  done
}
loop
function all { for p in "$@"; do echo "27 $p"; done; shift; echo "28 $1"; setparams new; echo "29 $1"; }
all "a b" c
set n=x
while [ "$n" != xxxx ]; do set n=x$n; done
until [ "$n" = xxxxxx ]; do set n=x$n; done
echo 30 $n
echo 31 "$unset"end \${also_unset}
eval "echo 32 \\$a"
set hash=#; echo 33 $hash
unset a ; echo "34 [$a]"
if [ -z "$a" ]
then
echo 35 multi
fi
# commands that fail
frobnicate --now
echo "36 $?"
if frobnicate; then echo 37 yes; else echo 37 no; fi
source /boot/grub/none.cfg
echo "38 $?"
if ! false; then echo 39 not; fi
if ! true; then echo 40 yes; else echo 40 no; fi
if [ a = a ; then echo 41 open; fi
regexp --set=1:number --set 2:letters "^([0-9]+)-([[:alpha:]_]*)" 12-ab_c.3; echo "42 $? $number $letters"
regexp ^b abc; echo "43 $?"
nosuch.command=x; echo "44 $?"
set novalue; echo "45 $?"
[ ! ]; echo "46 $?"
[ a = ]; echo "47 $?"
menuentry x; echo "48 $?"
source; echo "49 $?"
search; echo "50 $?"
search --frob x; echo "51 $?"
regexp a; echo "52 $?"
while frobnicate; do echo 53 loop; break; done
if ! frobnicate; then echo 54 yes; else echo 54 no; fi
test a b c; echo "55 $?"
[ = y ]; echo "56 $?"
[ y "" ]; echo "57 $?"
[ ! = y ]; echo "58 $?"
[ -a b ]; echo "59 $?"
[ "" -o ]; echo "60 $?"
[ c a = b ]; echo "61 $?"
[ -z ]; echo "62 $?"
[ "(" "" ]; echo "63 $?"
[ ! "" y ]; echo "64 $?"
[ "" "" -o y "" ]; echo "65 $?"
[ ]; echo "66 $?"
`;

/** What it prints, without the numbers of lines that it does not come to. */
export const PRINTED: readonly string[] = [
	"01 1 12 '1' $a \"q\" \\x",
	"02 two words.",
	"03 [two]",
	"03 [words]",
	"04 [two words]",
	"04 [plain]",
	"05 [x]",
	"05 []",
	'06 single $a "x" \\n',
	"07 a b cd",
	"08 a#b",
	"09 x=y",
	"10 a",
	"b",
	"11 yes",
	"12 two",
	"13 empty",
	"14 greater",
	"15 or",
	"16 not",
	"17 parentheses",
	"18 status 1",
	"19 nested",
	"20 no",
	"21 yes",
	"22 no",
	"23 one two 2 2",
	"24 3",
	"25 changed",
	"26 1",
	"26 3",
	"27 a b",
	"27 c",
	"28 c",
	"29 new",
	"30 xxxxxx",
	"31 end",
	"32 1",
	"33 #",
	"34 []",
	"35 multi",
	"36 0",
	"37 yes",
	"38 0",
	"39 not",
	"40 no",
	"41 open",
	"42 0 12 ab_c",
	"43 1",
	"44 0",
	"45 18",
	"46 0",
	"47 0",
	"48 18",
	"49 18",
	"50 18",
	"51 17",
	"52 18",
	"53 loop",
	"54 yes",
	"55 0",
	"56 0",
	"57 1",
	"58 1",
	"59 0",
	"60 0",
	"61 1",
	"62 0",
	"63 1",
	"64 0",
	"65 1",
	"66 0",
];
