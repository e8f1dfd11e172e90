# Removes the agent that install.ps1 has installed. The configuration, the
# registration, the logs and the account ssm-user stay.
# Exit codes: 0 done, 1 not, and why.
#
#   uninstall.ps1 [-RemoveProgramData]
#
# -RemoveProgramData removes the registration, the logs and everything else below
# %ProgramData%\Amazon\SSM, too.
[CmdletBinding()]
param(
    [switch]$RemoveProgramData
)
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

$service = 'AmazonSSMAgent'
$folder = Join-Path $env:ProgramFiles 'Amazon\SSM'
$data = Join-Path $env:ProgramData 'Amazon\SSM'
$ours = 'HKLM:\SOFTWARE\ssmagent'

# Remove-Empty removes a folder that has nothing in it.
function Remove-Empty([string]$path) {
    if ((Test-Path $path) -and -not (Get-ChildItem -Force $path)) {
        Remove-Item $path
    }
}

try {
    $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
    if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw 'administrator rights are needed: start PowerShell as administrator'
    }
    $installed = Get-ItemProperty -Path $ours -ErrorAction SilentlyContinue
    if ($installed -and $installed.Installer -eq 'msi') {
        throw 'an MSI has installed ssmagent here: uninstall it there (Settings, Apps)'
    }
    if (-not $installed -and (Get-Service $service -ErrorAction SilentlyContinue)) {
        throw 'the service here is not that of ssmagent: the stock agent is removed by its own uninstaller'
    }
    $program = Join-Path $folder 'amazon-ssm-agent.exe'
    if (Test-Path $program) {
        & $program service uninstall
        if ($LASTEXITCODE -ne 0) {
            throw "$program service uninstall: exit code $LASTEXITCODE"
        }
    }
    if ($RemoveProgramData -and (Test-Path $program)) {
        & $program service purge # which follows no links
        if ($LASTEXITCODE -ne 0) {
            throw "$program service purge: exit code $LASTEXITCODE"
        }
        Remove-Empty (Split-Path $data)
    }
    if ($installed) {
        Remove-Item -Recurse $ours
    }
    foreach ($name in 'amazon-ssm-agent.exe', 'ssm-cli.exe', 'ssm-local.exe', 'amazon-ssm-agent.json.template', 'LICENSE', 'NOTICE.md', 'uninstall.bat', 'uninstall.ps1') {
        Remove-Item -Force -ErrorAction SilentlyContinue (Join-Path $folder $name)
    }
    Remove-Empty $folder
    Remove-Empty (Split-Path $folder)
    exit 0
} catch {
    [Console]::Error.WriteLine("uninstall.ps1: $($_.Exception.Message)")
    exit 1
}
