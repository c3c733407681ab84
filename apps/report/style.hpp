// The style sheet of the report; colours are the variables of svg::chart_style.
#pragma once

namespace mindgap::report {

inline constexpr const char* report_style = R"css(
:root{color-scheme:light dark;--page:#f7f7f5;--tint:#eef2f6}
@media (prefers-color-scheme:dark){:root{--page:#131518;--tint:#252a31}}
@media print{:root{--page:#fff;--tint:#f2f2f2}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:17px/1.6 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif;
 overflow-wrap:break-word;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:58rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:2.1rem;line-height:1.15;margin:0 0 .4rem;letter-spacing:-.015em;text-wrap:balance}
h2{font-size:1.35rem;line-height:1.25;margin:3.2rem 0 .6rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:1.6rem 0 .3rem}
p,ul{max-width:42rem;margin:.6rem 0}
ul{padding-left:1.2rem}li{margin:.3rem 0}
.sub,.note,figcaption,caption{color:var(--soft)}
.sub{margin-top:0}.note,figcaption,caption{font-size:.88rem;line-height:1.5}
.finding{background:var(--card);border:1px solid var(--rule);border-left:5px solid var(--real);border-radius:10px;padding:1.1rem 1.4rem;margin:1.6rem 0}
.finding p{font-size:1.18rem;line-height:1.5;margin:0;max-width:none}
.finding ul{font-size:.95rem;margin:.9rem 0 0;max-width:none;color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.2rem,1fr));gap:.8rem;margin:1.2rem 0}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.8rem 1rem}
.tile b{display:block;font-size:1.75rem;line-height:1.2;font-variant-numeric:tabular-nums;color:var(--c,var(--ink))}
.tile small{display:block;font-size:.85rem;line-height:1.35;color:var(--soft);margin-top:.15rem}
figure,.panel{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1.1rem 1.2rem;margin:1.2rem 0}
main .chart{max-width:100%;height:auto}
figcaption{margin-top:.6rem;max-width:46rem}
.narrow,.legend{display:none}
.legend{flex-wrap:wrap;gap:.15rem 1rem;font-size:.85rem;margin:0 0 .6rem;padding:0;list-style:none}
.legend li{display:flex;align-items:center;gap:.4rem;margin:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.5rem}
th,td{text-align:right;padding:.42rem .55rem;border-top:1px solid var(--rule);white-space:nowrap;vertical-align:middle}
thead th{border-top:0;color:var(--soft);font-weight:600;font-size:.85rem;vertical-align:bottom;white-space:normal}
th:first-child,td:first-child{text-align:left;padding-left:0}td:last-child,th:last-child{padding-right:0}
tbody th{font-weight:500;white-space:normal;min-width:7rem}
td small,th small{color:var(--soft);display:block;font-size:.8rem;line-height:1.2}
.left{text-align:left}.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(25rem,100%),1fr));gap:1.2rem 2rem}.pair>*{min-width:0}.pair caption{font-weight:600;color:var(--ink)}.pair tbody th{min-width:0}.panel>.note{margin:0 0 .5rem}
.below{color:var(--generated)}.above{color:var(--green)}
.net{display:inline-flex;gap:2px;vertical-align:middle}
.net i{width:14px;height:20px;border-radius:3px;border:1.5px solid var(--real);background:var(--real)}
.net.fine{gap:1px}.net.fine i{width:5px;border-width:1px;border-radius:1px}
.net .g{border-color:var(--generated);background:repeating-linear-gradient(135deg,var(--generated) 0 2px,transparent 2px 5px)}
.nets{display:grid;grid-template-columns:max-content 1fr;gap:.55rem 1.1rem;align-items:center;font-size:.95rem;line-height:1.4}
.samples{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr 1fr;gap:.55rem 1.2rem;align-items:center;font-size:.93rem}
.samples .head{font-weight:600;font-size:.85rem;color:var(--soft)}
.strip{display:grid;grid-template-columns:repeat(8,1fr);gap:3px}
.strip img{width:100%;height:auto;display:block;border-radius:3px;background:#000}
.pixel img{image-rendering:pixelated}
.maps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(19rem,100%),1fr));gap:1.5rem}
.maps h3{margin:0 0 .5rem}
dl{display:grid;grid-template-columns:minmax(9rem,max-content) 1fr;gap:.25rem 1.2rem;margin:.4rem 0;font-size:.93rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
summary{cursor:pointer;font-weight:600}
@media (max-width:44rem){
 body{font-size:16px}main{padding:1.4rem .9rem 3rem}h1{font-size:1.65rem}h2{margin-top:2.4rem}
 figure,.panel,.finding{padding:.9rem .85rem}.finding p{font-size:1.08rem}
 .tiles{grid-template-columns:1fr 1fr;gap:.6rem}.tile{padding:.6rem .75rem}.tile b{font-size:1.4rem}.tile:last-child:nth-child(odd){grid-column:1/-1}
 .wide{display:none}.narrow{display:block}.legend{display:flex}
 .samples{grid-template-columns:1fr 1fr;gap:.35rem .9rem}.samples .class{grid-column:1/-1;font-weight:600;margin-top:.4rem}
 .samples .corner{display:none}.strip{grid-template-columns:repeat(4,1fr)}
 .nets{grid-template-columns:1fr;gap:.2rem}.nets span{margin-bottom:.6rem}
 .net i{width:9px}.net.fine i{width:3px}th,td{padding:.4rem .5rem}
 dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.45rem}
}
@media print{
 body{font-size:10.5pt}main{max-width:none;padding:0}
 figure,.panel,.finding,.tile,tr,.samples>*{break-inside:avoid}h2,h3{break-after:avoid}
 .scroll{overflow:visible}.pair{break-inside:auto!important}
}
)css";

}  // namespace mindgap::report
