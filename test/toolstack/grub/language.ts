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
];
