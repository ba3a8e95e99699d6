// SPDX-License-Identifier: Apache-2.0
// The style sheet of the HTML report. Hues after Okabe and Ito (2008), chosen
// to be told apart with the common colour-vision deficiencies; adjusted for
// contrast on white and, in dark mode, on near-black.
#pragma once
#include <string_view>

namespace lodestar::sim::report {

inline constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2126;--soft:#5b6670;--line:#e3e7eb;--mid:#b7c0c8;
--card:#f6f8fa;--hi:#e7f3ec;
--s0:#0067a5;--s1:#c75000;--s2:#00835f;--s3:#b24a8a;--s4:#a87400;--s5:#3a93c9;--s6:#5d5d5d;
--g0:#5f7a93;--g1:#a9784f;--g2:#6f8a4f;--g3:#8a6a93;--g4:#4f8a8a;--g5:#93705f;--g6:#777;--in:#fff}
@media (prefers-color-scheme:dark){:root{--bg:#14181c;--fg:#e7ebee;--soft:#9ba7b1;--line:#2a3138;
--mid:#4b5660;--card:#1b2126;--hi:#17332a;
--s0:#5aa9e6;--s1:#f0803c;--s2:#2fc197;--s3:#e08cc0;--s4:#e5b13a;--s5:#8fd0f5;--s6:#b4bcc3;
--g0:#8fabc4;--g1:#d0a47c;--g2:#a3bd84;--g3:#bb9ac4;--g4:#82bdbd;--g5:#c4a08f;--g6:#aaa;
--in:#10151a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:28px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:20px;margin:44px 0 4px}
h3{font-size:16px;margin:32px 0 2px}
p{margin:4px 0 12px;max-width:72ch}
.soft{color:var(--soft)}
.lead{font-size:17px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:18px 0;padding:14px 18px;
background:var(--card);border:1px solid var(--line);border-radius:8px}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.wide{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:6px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft);font-weight:500;vertical-align:bottom;border-bottom-color:var(--mid)}
tbody th{font-weight:600}
td.best{font-weight:700;background:var(--hi)}
td small{color:var(--soft);font-size:12px}
.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:8px}
.bad{color:var(--s1);font-weight:600}
.plot{overflow-x:auto;margin:8px 0}
svg{display:block;width:100%;min-width:680px;height:auto}
text{font-family:inherit;font-size:12px;fill:var(--fg)}
.tick,.axis,.note{fill:var(--soft)}
.tick{font-size:11.5px;font-variant-numeric:tabular-nums}
.mid{text-anchor:middle}
.end{text-anchor:end}
.panel{font-weight:600;font-size:12.5px}
.label{font-weight:600;font-size:12.5px}
.value{fill:var(--soft);font-variant-numeric:tabular-nums}
.value.best{fill:var(--fg);font-weight:700}
.inside{fill:var(--in);font-size:11.5px;font-weight:600;pointer-events:none}
.grid{stroke:var(--line);stroke-width:1}
.grid.strong{stroke:var(--mid);stroke-dasharray:2 3}
.base{stroke:var(--mid)}
.leader{stroke:var(--mid);stroke-width:.8}
.ln{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.marker{stroke-width:1.4;stroke-dasharray:5 4;opacity:.9}
.mute{stroke:var(--line);stroke-width:1.3}
.grey{stroke:var(--soft)}
.d1{stroke-dasharray:7 5}
.d2{stroke-dasharray:1 5}
.odd{opacity:.78}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}
.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}.s6{stroke:var(--s6)}
.f0{fill:var(--s0);background:var(--s0)}.f1{fill:var(--s1);background:var(--s1)}
.f2{fill:var(--s2);background:var(--s2)}.f3{fill:var(--s3);background:var(--s3)}
.f4{fill:var(--s4);background:var(--s4)}.f5{fill:var(--s5);background:var(--s5)}
.f6{fill:var(--s6);background:var(--s6)}
.g0{fill:var(--g0)}.g1{fill:var(--g1)}.g2{fill:var(--g2)}.g3{fill:var(--g3)}
.g4{fill:var(--g4)}.g5{fill:var(--g5)}.g6{fill:var(--g6)}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);
font-size:13px}
.band{stroke:var(--bg);stroke-width:.8}
.moment{stroke:var(--fg);stroke-width:1.2;stroke-dasharray:3 3;opacity:.75}
.dots{fill:none;stroke-width:3.2;stroke-linecap:round;opacity:.4}
.target{fill:var(--hi)}
.alert{border:1px solid var(--s1);border-left-width:5px;border-radius:6px;padding:8px 14px;
margin:16px 0}
.alert ul{margin:4px 0;padding-left:20px}
details{border:1px solid var(--line);border-radius:8px;padding:0 16px;margin:12px 0}
summary{cursor:pointer;padding:10px 0;font-weight:600}
summary .soft{font-weight:400}
details h3{margin-top:22px}
td .ci,.matrix small{display:block;color:var(--soft);font-size:11px}
.matrix td,.matrix th{padding:4px 8px}
.matrix tbody th{font-weight:400;text-align:left;white-space:normal;min-width:150px}
.group th{padding-top:16px;font-weight:600;border-bottom-color:var(--mid);text-align:left}
.up1{background:rgba(0,140,95,.08)}.up2{background:rgba(0,140,95,.16)}
.up3{background:rgba(0,140,95,.26)}.up4{background:rgba(0,140,95,.38)}
.dn1{background:rgba(220,90,0,.08)}.dn2{background:rgba(220,90,0,.16)}
.dn3{background:rgba(220,90,0,.26)}.dn4{background:rgba(220,90,0,.38)}
.top{font-weight:700}
main.broad{max-width:1180px;padding-left:16px;padding-right:16px}
.tight th,.tight td{padding:5px 6px}
.matrix .group th{font-weight:600;padding-top:14px}
@media print{main{padding:0;max-width:none}h2,h3{break-after:avoid}.plot{break-inside:avoid}}
)css";

}  // namespace lodestar::sim::report
